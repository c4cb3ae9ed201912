// A small sign for what a model works on.

import type { ReactNode } from "react";

import styles from "./task-icon.module.css";

const TEXT = <path d="M4 6h12M4 10h9M4 14h5" />;
const PICTURE = (
  <>
    <rect x="3" y="4" width="14" height="12" rx="2" />
    <path d="m3.5 14 4-4 3 3 2.5-2.5 3.5 3.5" />
  </>
);
const COMPARE = (
  <>
    <circle cx="7.5" cy="10" r="4.5" />
    <circle cx="12.5" cy="10" r="4.5" />
  </>
);
const LABEL = <path d="M4 5h7l5 5-5 5H4z" />;
const VECTOR = <path d="M4 15V9M8 15V5M12 15v-4M16 15V7" />;
const OTHER = <circle cx="10" cy="10" r="5" />;

const SIGNS: Record<string, ReactNode> = {
  "text-generation": TEXT,
  "text2text-generation": TEXT,
  summarization: TEXT,
  translation: TEXT,
  "text-classification": LABEL,
  "zero-shot-classification": LABEL,
  "text-ranking": COMPARE,
  "text-retrieval": COMPARE,
  "token-classification": TEXT,
  "question-answering": TEXT,
  "table-question-answering": TEXT,
  "fill-mask": TEXT,
  "image-classification": PICTURE,
  "unconditional-image-generation": PICTURE,
  "image-super-resolution": PICTURE,
  "image-restoration": PICTURE,
  "sentence-similarity": COMPARE,
  "feature-extraction": VECTOR,
};

export function TaskIcon({ task }: { task: string | null }) {
  return (
    <svg className={styles.icon} viewBox="0 0 20 20" aria-hidden="true">
      {SIGNS[task ?? ""] ?? OTHER}
    </svg>
  );
}
