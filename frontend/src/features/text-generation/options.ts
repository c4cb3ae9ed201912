// The options of text generation that the page offers, and how their fields become a request.

import type { TextGenerationOptions } from "@/api/contract";

export interface OptionSpec {
  name: keyof TextGenerationOptions;
  kind: "integer" | "number" | "choice" | "lines";
  hint: string;
  /** For the field's arrows and its keyboard on phones; the server is the judge of ranges. */
  step?: number;
  min?: number;
}

export const OPTIONS: readonly OptionSpec[] = [
  { name: "max_new_tokens", kind: "integer", hint: "At most so many tokens", min: 1 },
  { name: "min_new_tokens", kind: "integer", hint: "No end before so many", min: 0 },
  { name: "do_sample", kind: "choice", hint: "Draw, or always the likeliest" },
  {
    name: "temperature",
    kind: "number",
    hint: "Divides the logits; 0 is greedy",
    step: 0.1,
    min: 0,
  },
  { name: "top_k", kind: "integer", hint: "Only the k likeliest; 0: all", min: 0 },
  { name: "top_p", kind: "number", hint: "Likeliest up to this probability", step: 0.05, min: 0 },
  {
    name: "min_p",
    kind: "number",
    hint: "At least this share of the likeliest",
    step: 0.05,
    min: 0,
  },
  { name: "repetition_penalty", kind: "number", hint: "Above 1 repeats less", step: 0.05, min: 0 },
  { name: "seed", kind: "integer", hint: "The same seed draws the same", min: 0 },
  { name: "stop", kind: "lines", hint: "Ends before any of these, one a line" },
];

/** What stands in the fields; an empty one leaves the choice to the model's own defaults. */
export type OptionTexts = Partial<Record<OptionSpec["name"], string>>;

/** The options of a request: only fields that say something, each in its own type. */
export function readOptions(texts: OptionTexts): TextGenerationOptions {
  const options: Record<string, unknown> = {};
  for (const spec of OPTIONS) {
    const text = texts[spec.name]?.trim() ?? "";
    if (text !== "") options[spec.name] = readOption(spec, text);
  }
  return options;
}

function readOption(spec: OptionSpec, text: string): unknown {
  switch (spec.kind) {
    case "integer":
    case "number": {
      const number = Number(text);
      // What is no number goes as it stands: the server says what is wrong with it.
      return Number.isNaN(number) ? text : number;
    }
    case "choice":
      return text === "true";
    case "lines":
      return text.split("\n").filter((line) => line !== "");
  }
}
