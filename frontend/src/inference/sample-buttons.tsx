// The sample pictures as buttons.

import { Button } from "@/components/button";

import styles from "./sample-buttons.module.css";
import { drawSample, SAMPLE_COLOURS, SAMPLES } from "./sample-picture";

export function SampleButtons({ onFile }: { onFile: (file: File | null) => void }) {
  return (
    <div className={styles.row}>
      <span className={styles.lead}>No picture at hand?</span>
      {SAMPLES.map((sample) => (
        <Button
          key={`${sample.colour} ${sample.shape}`}
          small
          onClick={() => {
            void drawSample(sample).then(onFile);
          }}
        >
          <svg className={styles.icon} viewBox="0 0 16 16" fill={SAMPLE_COLOURS[sample.colour]}>
            {sample.shape === "circle" ? <circle cx="8" cy="8" r="6.5" /> : null}
            {sample.shape === "square" ? <rect x="2" y="2" width="12" height="12" /> : null}
            {sample.shape === "triangle" ? <path d="M8 1.5 15 14H1z" /> : null}
          </svg>
          {sample.colour} {sample.shape}
        </Button>
      ))}
    </div>
  );
}
