// Everything that can go wrong with a call, in the shape of the server's error envelope.

/** `{"error": {…}}` of the server, or one of the two failures that happen before there is one. */
export interface ApiError {
  /** A code of the server; or `unreachable` and `bad_answer`, which are this page's own. */
  code: string;
  message: string;
  /** The input or option at fault, such as `options.temperature`. */
  field: string | null;
  /** What else belongs to it, without the field. */
  details: Record<string, unknown>;
  retryable: boolean;
  /** HTTP status, where the error was one. */
  status: number | null;
}

/** The error as an exception, for the callers that await an answer. */
export class ApiFailure extends Error {
  readonly error: ApiError;

  constructor(error: ApiError) {
    super(error.message);
    this.error = error;
  }
}

const RETRYABLE_STATUSES = [429, 502, 503, 504];

/** Reads an error of the server: the object under `error`, or the data of an `error` event. */
export function readApiError(value: unknown, status: number | null): ApiError {
  if (!isRecord(value) || typeof value["code"] !== "string") {
    return badAnswer(`the server answered ${status ?? "an event"} without an error code`, status);
  }
  const { field, ...details } = isRecord(value["details"]) ? value["details"] : {};
  const named = typeof field === "string" ? field : value["field"];
  const isRetryable = status !== null && RETRYABLE_STATUSES.includes(status);
  return {
    code: value["code"],
    message: typeof value["message"] === "string" ? value["message"] : "",
    field: typeof named === "string" && named !== "" ? named : null,
    details,
    retryable: typeof value["retryable"] === "boolean" ? value["retryable"] : isRetryable,
    status,
  };
}

/** The answer of a failed request: the envelope, or what a proxy in between said instead. */
export async function readFailedResponse(response: Response): Promise<ApiError> {
  const text = await response.text();
  try {
    const body: unknown = JSON.parse(text);
    if (isRecord(body)) return readApiError(body["error"], response.status);
  } catch {
    // Not from this server; the status is all that is known.
  }
  return badAnswer(
    `the server answered ${response.status} ${response.statusText}`.trim(),
    response.status,
  );
}

export function unreachable(): ApiError {
  const message = "The server cannot be reached.";
  return { code: "unreachable", message, field: null, details: {}, retryable: true, status: null };
}

export function badAnswer(message: string, status: number | null): ApiError {
  return { code: "bad_answer", message, field: null, details: {}, retryable: false, status };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
