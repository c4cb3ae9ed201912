// Copies a text to the clipboard, and says whether that worked.

import { useEffect, useState } from "react";

import { Button } from "./button";

const SHOWN_MS = 2000;

export function CopyButton({ text }: { text: string }) {
  const [outcome, setOutcome] = useState<"copied" | "refused" | null>(null);

  useEffect(() => {
    if (outcome === null) return undefined;
    const timer = setTimeout(() => {
      setOutcome(null);
    }, SHOWN_MS);
    return () => {
      clearTimeout(timer);
    };
  }, [outcome]);

  async function copy() {
    try {
      await navigator.clipboard.writeText(text);
      setOutcome("copied");
    } catch {
      // Pages over plain HTTP from another machine have no clipboard.
      setOutcome("refused");
    }
  }

  const label = outcome === null ? "Copy" : outcome === "copied" ? "Copied" : "Select it by hand";
  return (
    <Button
      small
      onClick={() => {
        void copy();
      }}
    >
      <span aria-live="polite">{label}</span>
    </Button>
  );
}
