// The messages of the API that the page uses, by short names. Their shapes come from `openapi.json`.

import type { components } from "./generated/schema";

type Schemas = components["schemas"];

export type ErrorBody = Schemas["ErrorBody"];

/** A model of the catalogue. */
export type CatalogueModel = Schemas["CatalogueRow"];
export type CataloguePage = Schemas["CatalogueAnswer"];

/** One model on one worker. */
export type ModelStatus = Schemas["ModelStatus"];
export type ModelBytes = ModelStatus["bytes"];
export type ResidencyStatus = ModelStatus["status"];
export type WorkerRow = Schemas["WorkerRow"];
export type Device = Schemas["Device"];

export type QueuedEvent = Schemas["QueuedEvent"];
export type LoadingEvent = Schemas["LoadingEvent"];
export type StartedEvent = Schemas["StartedEvent"];
export type TokenEvent = Schemas["TokenEvent"];
export type ProgressEvent = Schemas["ProgressEvent"];
/** The last event of a stream: the answer, with the figures of the whole run. */
export type DoneEvent = Schemas["DoneEvent"];
export type ResultMetadata = Schemas["ResultMetadata"];

export type TextGenerationOptions = Schemas["TextGenerationOptions"];
export type Seq2SeqOptions = Schemas["Seq2SeqOptions"];
export type TextToImageOptions = Schemas["TextToImageOptions"];
export type ImageToImageOptions = Schemas["ImageToImageOptions"];
export type UnconditionalImageGenerationOptions = Schemas["UnconditionalImageGenerationOptions"];
export type ChatMessage = Schemas["ChatMessage"];

export type TextAnswer = Schemas["TextChoice"];
export type WrittenText = Schemas["GeneratedText"];
/** Of one text: what was written for it, or the several that were asked for. */
export type WrittenTexts = Schemas["WrittenTexts"];
export type LabelsAnswer = Schemas["Labels"];
export type RankingAnswer = Schemas["RankingOutput"];
/** What was found in one text. */
export type EntitiesAnswer = Schemas["Entities"];
export type MadeImage = Schemas["MadeImage"];
export type ImageEnhancementOptions = Schemas["ImageEnhancementOptions"];
export type QuestionAnswer = Schemas["QuestionAnswer"];
export type TableAnswer = Schemas["TableAnswer"];
export type FilledMasks = Schemas["FillMaskOutput"];
export type ImagesAnswer = Schemas["ImagesOutput"];

export type UnloadAnswer = Schemas["UnloadAnswer"];
export type SimilarityAnswer = Extract<Schemas["SimilarityAnswer"], { scores: number[] }>;
export type EmbeddingAnswer = Extract<Schemas["Vectors"], { embedding: number[] }>;

/** Body of `/api/inference` and `/api/inference/stream`, before its task says what is in it. */
export interface InferenceRequest {
  model_id: string;
  task: string;
  inputs: Record<string, unknown>;
  options?: object;
}
