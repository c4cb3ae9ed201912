// What an error of the server says, and which control it belongs to.

import type { ApiError } from "@/api/api-error";

/** The message without the field in front of it, which is shown on its own. */
export function plainMessage(error: ApiError): string {
  const prefix = `${error.field ?? ""}: `;
  return error.message.startsWith(prefix) ? error.message.slice(prefix.length) : error.message;
}

/** The message for the field at `path`, such as `options.top_k`; also for what lies inside it. */
export function fieldError(error: ApiError | null, path: string): string | null {
  const field = error?.field ?? "";
  const isInside = field === path || field.startsWith(`${path}.`) || field.startsWith(`${path}[`);
  return error !== null && isInside ? plainMessage(error) || error.code : null;
}
