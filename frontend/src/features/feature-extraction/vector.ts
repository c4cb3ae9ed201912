// Figures about a vector, and its values as shades.

/** Euclidean length. */
export function norm(vector: readonly number[]): number {
  return Math.sqrt(vector.reduce((sum, value) => sum + value * value, 0));
}

/** Every value as −1 to 1 of the largest magnitude; a vector of zeros stays zeros. */
export function relative(vector: readonly number[]): number[] {
  const largest = vector.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  return vector.map((value) => (largest === 0 ? 0 : value / largest));
}
