// The options of writing that the page offers, and how their fields become a request.

import type { Seq2SeqOptions } from "@/api/contract";

export interface OptionSpec {
  name: keyof Seq2SeqOptions;
  hint: string;
  /** For the field's arrows; the server is the judge of ranges. */
  step: number;
}

export const OPTIONS: readonly OptionSpec[] = [
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

/** What stands in the fields; an empty one leaves the choice to the model's own defaults. */
export type OptionTexts = Partial<Record<OptionSpec["name"], string>>;

/** The options of a request: only fields that say something. */
export function readOptions(texts: OptionTexts): Seq2SeqOptions {
  const options: Record<string, unknown> = {};
  for (const { name } of OPTIONS) {
    const text = texts[name]?.trim() ?? "";
    const number = Number(text);
    // What is no number goes as it stands: the server says what is wrong with it.
    if (text !== "") options[name] = Number.isNaN(number) ? text : number;
  }
  return options;
}
