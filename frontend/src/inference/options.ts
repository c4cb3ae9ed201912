// Options that are numbers: which ones a view offers, and how their fields become a request.

export interface OptionSpec<Name extends string> {
  name: Name;
  hint: string;
  /** For the field's arrows; the server is the judge of ranges. */
  step: number;
}

/** What stands in the fields; an empty one leaves the choice to the model's own defaults. */
export type OptionTexts<Name extends string> = Partial<Record<Name, string>>;

/** The options of a request: only fields that say something. */
export function readOptions<Name extends string>(
  specs: readonly OptionSpec<Name>[],
  texts: OptionTexts<Name>,
): Record<string, unknown> {
  const options: Record<string, unknown> = {};
  for (const { name } of specs) {
    const text = texts[name]?.trim() ?? "";
    const number = Number(text);
    // What is no number goes as it stands: the server says what is wrong with it.
    if (text !== "") options[name] = Number.isNaN(number) ? text : number;
  }
  return options;
}
