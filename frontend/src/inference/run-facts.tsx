// How an answer was made: the figures that the server measured.

import type { ResultMetadata } from "@/api/contract";
import { Facts } from "@/components/facts";
import { formatMilliseconds } from "@/format/duration";

export function RunFacts({ metadata }: { metadata: ResultMetadata }) {
  const facts = [
    { name: "Model time", value: formatMilliseconds(metadata.runtime_ms_model) },
    { name: "Queue", value: formatMilliseconds(metadata.queue_ms) },
    {
      name: "Load",
      value:
        typeof metadata.load_ms === "number"
          ? formatMilliseconds(metadata.load_ms)
          : "was in memory",
    },
    { name: "Device", value: `${metadata.device}, ${metadata.dtype}` },
    { name: "Architecture", value: metadata.architecture },
    { name: "Revision", value: <code>{metadata.revision.slice(0, 12)}</code> },
  ];
  if (typeof metadata.seed === "number") facts.push({ name: "Seed", value: String(metadata.seed) });
  return <Facts facts={facts} />;
}
