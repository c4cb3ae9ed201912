// A worker and the memory of its devices: what models may use, what they do use, what everyone uses.

import type { Device, WorkerRow } from "@/api/contract";
import { Facts, type Fact } from "@/components/facts";
import { Meter, type MeterPart } from "@/components/meter";
import { formatBytes } from "@/format/bytes";

import styles from "./worker-memory.module.css";

export function WorkerMemory({ worker }: { worker: WorkerRow }) {
  return (
    <div className={styles.worker}>
      <p className={styles.head}>
        <span className={styles.name}>{worker.id}</span>
        <span className={isWell(worker) ? styles.quiet : styles.bad}>{healthWords(worker)}</span>
      </p>
      {worker.devices.map((device) => (
        <DeviceMemory key={device.name} device={device} />
      ))}
    </div>
  );
}

function DeviceMemory({ device }: { device: Device }) {
  const parts: MeterPart[] = [
    { value: device.charged_bytes, tone: "accent" },
    { value: device.reserved_bytes, tone: "second" },
    { value: device.releasing_bytes, tone: "soft" },
  ];
  const words = `${formatBytes(device.charged_bytes)} of ${formatBytes(device.budget_bytes)}`;
  return (
    <div className={styles.device}>
      <p className={styles.line}>
        <span>
          {device.name} <span className={styles.quiet}>{device.model}</span>
        </span>
      </p>
      <Meter
        label={`Memory for models on ${device.name}`}
        text={words}
        total={device.budget_bytes}
        parts={parts}
      />
      <Facts facts={deviceFacts(device)} />
    </div>
  );
}

function deviceFacts(device: Device): Fact[] {
  const facts = [
    { name: "Charged to models", value: formatBytes(device.charged_bytes) },
    { name: "Budget", value: formatBytes(device.budget_bytes) },
  ];
  if (device.reserved_bytes > 0) {
    facts.push({ name: "Promised to loads", value: formatBytes(device.reserved_bytes) });
  }
  if (device.releasing_bytes > 0) {
    facts.push({ name: "On its way back", value: formatBytes(device.releasing_bytes) });
  }
  if (typeof device.process_bytes === "number") {
    facts.push({ name: "Worker’s process", value: formatBytes(device.process_bytes) });
  }
  const used = `${formatBytes(device.used_bytes)} of ${formatBytes(device.total_bytes)}`;
  facts.push({ name: "In use by everyone", value: used });
  if (typeof device.utilization === "number") {
    facts.push({ name: "Utilisation", value: `${(device.utilization * 100).toFixed(0)} %` });
  }
  return facts;
}

function isWell(worker: WorkerRow): boolean {
  return worker.link === "up" && worker.healthy;
}

function healthWords(worker: WorkerRow): string {
  // What is not up said nothing lately; its health is from before.
  if (worker.link !== "up") return worker.link;
  if (!worker.healthy) return "not healthy";
  return worker.draining ? "draining" : "healthy";
}
