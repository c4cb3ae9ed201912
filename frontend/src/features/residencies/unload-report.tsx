// What came of an unload: the bytes that came back, or why it was refused.

import { Button } from "@/components/button";
import { Notice } from "@/components/notice";
import { formatBytes } from "@/format/bytes";
import { ErrorNotice } from "@/inference/error-notice";

import type { Unload } from "./use-unload";

export function UnloadReport({ unload }: { unload: Unload }) {
  const { outcome } = unload;
  if (outcome === null) return null;
  if ("error" in outcome) {
    const { modelId, error } = outcome;
    const force = (
      <Button
        small
        kind="danger"
        onClick={() => {
          unload.start(modelId, true);
        }}
      >
        Cancel its requests and unload
      </Button>
    );
    return <ErrorNotice error={error} action={error.code === "in_use" ? force : undefined} />;
  }
  const { answer } = outcome;
  const expected = answer.unloaded.reduce((sum, one) => sum + one.bytes_expected, 0);
  return (
    <Notice
      tone="info"
      action={
        <Button small onClick={unload.dismiss}>
          Close
        </Button>
      }
    >
      {outcome.modelId} is unloaded: <strong>{formatBytes(answer.bytes_freed)} freed</strong>, as
      measured; {formatBytes(expected)} were charged.
    </Notice>
  );
}
