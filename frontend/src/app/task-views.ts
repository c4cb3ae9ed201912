// The tasks that this page can show: one line per task.

import type { ComponentType } from "react";

import { FeatureExtractionView } from "@/features/feature-extraction/feature-extraction-view";
import { ImageClassificationView } from "@/features/image-classification/image-classification-view";
import { SentenceSimilarityView } from "@/features/sentence-similarity/sentence-similarity-view";
import { TextGenerationView } from "@/features/text-generation/text-generation-view";
import type { TaskViewProps } from "@/inference/task-view";

export interface TaskView {
  task: string;
  label: string;
  View: ComponentType<TaskViewProps>;
}

const TASK_VIEWS: readonly TaskView[] = [
  { task: "text-generation", label: "Text generation", View: TextGenerationView },
  { task: "image-classification", label: "Image classification", View: ImageClassificationView },
  { task: "sentence-similarity", label: "Sentence similarity", View: SentenceSimilarityView },
  { task: "feature-extraction", label: "Feature extraction", View: FeatureExtractionView },
];

/** Tasks that a model of the first one can do as well: both read sentence embeddings. */
const ALSO: Record<string, readonly string[]> = {
  "sentence-similarity": ["feature-extraction"],
  "feature-extraction": ["sentence-similarity"],
};

/** The views for a model of this task, its own first; none where the page has no view for it. */
export function viewsOf(task: string | null): TaskView[] {
  const tasks = task === null ? [] : [task, ...(ALSO[task] ?? [])];
  return tasks.flatMap((name) => TASK_VIEWS.filter((view) => view.task === name));
}
