// Sentences in the order of their scores.

export interface RankedSentence {
  sentence: string;
  /** Cosine similarity, −1 to 1. */
  score: number;
}

/** Nearest first; equal ones stay in the order they were given. */
export function rankSentences(sentences: string[], scores: number[]): RankedSentence[] {
  return scores
    .map((score, place) => ({ sentence: sentences[place] ?? "", score }))
    .sort((a, b) => b.score - a.score);
}
