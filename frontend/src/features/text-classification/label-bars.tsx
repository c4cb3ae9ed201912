// The labels of an answer with their scores.

import type { LabelsAnswer } from "@/api/contract";
import { ScoreBars } from "@/components/score-bars";

/** Scores that are no shares, as a regression has them, are written as they are. */
export function LabelBars({ output }: { output: LabelsAnswer }) {
  const areShares = output.predictions.every(({ score }) => score >= 0 && score <= 1);
  return (
    <ScoreBars
      label="Labels, likeliest first"
      scores={output.predictions.map(({ label, score }) => ({
        name: label,
        share: areShares ? score : 0,
        text: areShares ? `${(score * 100).toFixed(1)} %` : score.toFixed(3).replace("-", "−"),
      }))}
    />
  );
}
