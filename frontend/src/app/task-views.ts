// The tasks that this page can show: one line per task.

import type { ComponentType } from "react";

import type { CatalogueModel } from "@/api/contract";
import { FeatureExtractionView } from "@/features/feature-extraction/feature-extraction-view";
import { FillMaskView } from "@/features/fill-mask/fill-mask-view";
import { ImageClassificationView } from "@/features/image-classification/image-classification-view";
import {
  RestorationView,
  SuperResolutionView,
} from "@/features/image-enhancement/image-enhancement-view";
import { ImageToImageView } from "@/features/painting/image-to-image-view";
import { TextToImageView } from "@/features/painting/text-to-image-view";
import { UnconditionalView } from "@/features/painting/unconditional-view";
import { QuestionAnsweringView } from "@/features/question-answering/question-answering-view";
import { SentenceSimilarityView } from "@/features/sentence-similarity/sentence-similarity-view";
import { TableQuestionAnsweringView } from "@/features/table-question-answering/table-question-answering-view";
import { TextClassificationView } from "@/features/text-classification/text-classification-view";
import { ZeroShotClassificationView } from "@/features/text-classification/zero-shot-view";
import { TextGenerationView } from "@/features/text-generation/text-generation-view";
import { TextRankingView, TextRetrievalView } from "@/features/text-ranking/text-ranking-view";
import { TokenClassificationView } from "@/features/token-classification/token-classification-view";
import {
  SummarizationView,
  Text2TextGenerationView,
  TranslationView,
} from "@/features/writing/writing-view";
import type { TaskViewProps } from "@/inference/task-view";

export interface TaskView {
  task: string;
  label: string;
  View: ComponentType<TaskViewProps>;
}

const TASK_VIEWS: readonly TaskView[] = [
  { task: "text-generation", label: "Text generation", View: TextGenerationView },
  { task: "text2text-generation", label: "Text to text", View: Text2TextGenerationView },
  { task: "summarization", label: "Summarization", View: SummarizationView },
  { task: "translation", label: "Translation", View: TranslationView },
  { task: "text-classification", label: "Text classification", View: TextClassificationView },
  {
    task: "zero-shot-classification",
    label: "Zero-shot classification",
    View: ZeroShotClassificationView,
  },
  { task: "text-ranking", label: "Text ranking", View: TextRankingView },
  { task: "text-retrieval", label: "Text retrieval", View: TextRetrievalView },
  { task: "token-classification", label: "Token classification", View: TokenClassificationView },
  { task: "question-answering", label: "Question answering", View: QuestionAnsweringView },
  {
    task: "table-question-answering",
    label: "Questions about tables",
    View: TableQuestionAnsweringView,
  },
  { task: "fill-mask", label: "Fill-mask", View: FillMaskView },
  { task: "image-classification", label: "Image classification", View: ImageClassificationView },
  { task: "text-to-image", label: "Text to image", View: TextToImageView },
  { task: "image-to-image", label: "Image to image", View: ImageToImageView },
  {
    task: "unconditional-image-generation",
    label: "Unconditional",
    View: UnconditionalView,
  },
  { task: "image-super-resolution", label: "Super-resolution", View: SuperResolutionView },
  { task: "image-restoration", label: "Restoration", View: RestorationView },
  { task: "sentence-similarity", label: "Sentence similarity", View: SentenceSimilarityView },
  { task: "feature-extraction", label: "Feature extraction", View: FeatureExtractionView },
];

/** The views for what a model can do, that of its own task first; none where the page has none. */
export function viewsOf(model: Pick<CatalogueModel, "task" | "tasks">): TaskView[] {
  const tasks = new Set([...(model.task ? [model.task] : []), ...model.tasks]);
  return [...tasks].flatMap((name) => TASK_VIEWS.filter((view) => view.task === name));
}
