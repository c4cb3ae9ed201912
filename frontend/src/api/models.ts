// The catalogue, and what can be done to a model.

import type { CataloguePage, UnloadAnswer } from "./contract";
import { callJson } from "./http";

/** One page of the catalogue; `cursor` is that of the page before, or null for the first. */
export function fetchCatalogue(cursor: string | null, signal: AbortSignal): Promise<CataloguePage> {
  const query = cursor === null ? "" : `?${new URLSearchParams({ cursor }).toString()}`;
  return callJson({ method: "GET", path: `/api/models${query}` }, signal);
}

/** Unloads every residency of a model; `force` cancels what runs on it. */
export function unloadModel(modelId: string, force: boolean): Promise<UnloadAnswer> {
  const body = { model_id: modelId, force };
  return callJson({ method: "POST", path: "/api/models/unload", body });
}
