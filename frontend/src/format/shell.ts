// Text as one word of a POSIX shell.

/** In single quotes; the text comes out of the shell exactly as it went in. */
export function shellQuote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
