// The models of the catalogue, page by page.

import { useCallback, useEffect, useState } from "react";

import { ApiFailure, type ApiError } from "@/api/api-error";
import type { CatalogueModel } from "@/api/contract";
import { fetchCatalogue } from "@/api/models";

export interface Catalogue {
  /** Null until the first page is there. */
  models: CatalogueModel[] | null;
  error: ApiError | null;
  /** Fetches the next page; null when there is none. */
  more: (() => void) | null;
}

interface Loaded {
  models: CatalogueModel[];
  cursor: string | null;
}

/**
 * Fetches anew when the server is back, which may have other models by then, and when workers come
 * or go, since they decide what can run.
 */
export function useCatalogue(isReachable: boolean, hasWorkers: boolean): Catalogue {
  const [loaded, setLoaded] = useState<Loaded | null>(null);
  const [error, setError] = useState<ApiError | null>(null);

  const fetchPage = useCallback(async (before: Loaded | null, signal: AbortSignal) => {
    try {
      const page = await fetchCatalogue(before?.cursor ?? null, signal);
      setError(null);
      setLoaded({
        models: [...(before?.models ?? []), ...page.models],
        cursor: page.next_cursor ?? null,
      });
    } catch (cause) {
      if (signal.aborted) return;
      if (!(cause instanceof ApiFailure)) throw cause;
      setError(cause.error);
    }
  }, []);

  useEffect(() => {
    if (!isReachable) return undefined;
    const controller = new AbortController();
    // eslint-disable-next-line react-hooks/set-state-in-effect -- it sets state when the answer is there
    void fetchPage(null, controller.signal);
    return () => {
      controller.abort();
    };
  }, [fetchPage, isReachable, hasWorkers]);

  const hasMore = loaded !== null && loaded.cursor !== null;
  const more = () => {
    void fetchPage(loaded, new AbortController().signal);
  };
  return { models: loaded?.models ?? null, error, more: hasMore ? more : null };
}
