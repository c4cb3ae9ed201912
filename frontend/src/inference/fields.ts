// Which control an error of the server belongs to.

import type { ApiError } from "@/api/api-error";

/** The message for the field at `path`, such as `options.top_k`; also for what lies inside it. */
export function fieldError(error: ApiError | null, path: string): string | null {
  const field = error?.field ?? "";
  const isInside = field === path || field.startsWith(`${path}.`) || field.startsWith(`${path}[`);
  return error !== null && isInside ? error.message || error.code : null;
}
