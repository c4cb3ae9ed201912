// The chosen model, kept in the address so that it can be shared and survives a reload.

import { useEffect, useState } from "react";

import type { CatalogueModel } from "@/api/contract";

/** The one that the address names; without one, the first that can run. */
export function useChosenModel(
  models: CatalogueModel[] | null,
): [CatalogueModel | null, (model: CatalogueModel) => void] {
  const [id, setId] = useState(readAddress);

  useEffect(() => {
    function onHashChange() {
      setId(readAddress());
    }
    window.addEventListener("hashchange", onHashChange);
    return () => {
      window.removeEventListener("hashchange", onHashChange);
    };
  }, []);

  const named = models?.find((model) => model.model_id === id);
  const chosen = named ?? models?.find((model) => model.runnable) ?? null;
  return [
    chosen,
    (model) => {
      window.location.hash = model.model_id;
    },
  ];
}

function readAddress(): string {
  try {
    return decodeURIComponent(window.location.hash.slice(1));
  } catch {
    return "";
  }
}
