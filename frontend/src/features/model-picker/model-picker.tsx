// The list of models to choose from.

import { useId, useState } from "react";

import type { CatalogueModel } from "@/api/contract";
import { Button } from "@/components/button";
import { Card } from "@/components/card";
import { Empty } from "@/components/empty";
import { Field } from "@/components/field";
import { ErrorNotice } from "@/inference/error-notice";

import { filterModels } from "./filter";
import styles from "./model-picker.module.css";
import { ModelRow } from "./model-row";
import type { Catalogue } from "./use-catalogue";

/** A search field only where there is something to search. */
const SEARCHED_FROM = 7;

interface ModelPickerProps {
  catalogue: Catalogue;
  chosen: string | null;
  /** Ids of the models that are in memory. */
  resident: ReadonlySet<string>;
  onChoose: (model: CatalogueModel) => void;
}

export function ModelPicker({ catalogue, chosen, resident, onChoose }: ModelPickerProps) {
  const [search, setSearch] = useState("");
  const group = useId();
  const models = catalogue.models ?? [];
  const found = filterModels(models, search);
  return (
    <Card title="Models">
      {catalogue.error === null ? null : <ErrorNotice error={catalogue.error} />}
      {models.length < SEARCHED_FROM ? null : (
        <Field label="Search">
          {(control) => (
            <input
              {...control}
              type="search"
              value={search}
              onChange={(event) => {
                setSearch(event.target.value);
              }}
            />
          )}
        </Field>
      )}
      <fieldset className={styles.list} aria-label="Model">
        {found.map((model) => (
          <ModelRow
            key={model.model_id}
            group={group}
            model={model}
            isChosen={model.model_id === chosen}
            isResident={resident.has(model.model_id)}
            onChoose={onChoose}
          />
        ))}
      </fieldset>
      {found.length > 0 ? null : <Empty>{emptyWords(catalogue, search)}</Empty>}
      {catalogue.more === null ? null : <Button onClick={catalogue.more}>More models</Button>}
    </Card>
  );
}

function emptyWords(catalogue: Catalogue, search: string): string {
  if (catalogue.models === null) return catalogue.error === null ? "Loading…" : "No list yet.";
  return search === "" ? "The server’s hub holds no model." : `Nothing is called “${search}”.`;
}
