// A request as a line for a POSIX shell that does the same.

import type { InferenceRequest } from "@/api/contract";
import { inferenceCall } from "@/api/inference";
import { shellQuote } from "@/format/shell";

/** A picture up to this many characters of base64 stands in the line itself. */
const INLINE_CHARACTERS = 4096;

/** A chosen file, which the line reads from the current folder when it is too long to be shown. */
export interface RequestFile {
  /** Field of `inputs` that holds its data URI. */
  field: string;
  name: string;
}

export function curlLine(origin: string, request: InferenceRequest, file?: RequestFile): string {
  const { path, method, body } = inferenceCall(request);
  const target = `${shellQuote(origin + path)} -X ${method} -H 'content-type: application/json'`;
  const json = JSON.stringify(body);
  const content = file === undefined ? undefined : request.inputs[file.field];
  if (file === undefined || typeof content !== "string" || content.length <= INLINE_CHARACTERS) {
    return `curl -N ${target} -d ${shellQuote(json)}`;
  }
  const [before, after] = around(json, JSON.stringify(content));
  return (
    `{ printf %s ${shellQuote(before)}; base64 < ${shellQuote(file.name)} | tr -d '\\n'; ` +
    `printf %s ${shellQuote(after)}; } | curl -N ${target} --data-binary @-`
  );
}

/** The JSON before and after a string in it, with the string's own quotes. */
function around(json: string, quoted: string): [string, string] {
  const start = json.indexOf(quoted) + 1;
  return [json.slice(0, start), json.slice(start + quoted.length - 2)];
}
