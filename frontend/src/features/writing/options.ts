// The options of writing that the page offers.

import type { Seq2SeqOptions } from "@/api/contract";
import type { OptionSpec } from "@/inference/options";

export const OPTIONS: readonly OptionSpec<keyof Seq2SeqOptions>[] = [
  { name: "max_new_tokens", hint: "At most so many tokens", step: 1 },
  { name: "min_new_tokens", hint: "No end before so many", step: 1 },
  { name: "num_beams", hint: "Beginnings searched at once", step: 1 },
  { name: "num_return_sequences", hint: "So many texts, best first", step: 1 },
  { name: "length_penalty", hint: "Above 0 favours long texts", step: 0.1 },
  { name: "no_repeat_ngram_size", hint: "No run of so many tokens twice", step: 1 },
  { name: "repetition_penalty", hint: "Above 1 repeats less", step: 0.05 },
  { name: "temperature", hint: "Draws tokens; one beam only", step: 0.1 },
  { name: "seed", hint: "The same seed draws the same", step: 1 },
];
