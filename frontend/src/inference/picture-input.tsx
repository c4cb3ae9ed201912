// Chooses a picture: by its name, dropped, pasted, or one of the samples.

import { useEffect, useId, useState } from "react";

import { Notice } from "@/components/notice";
import { formatBytes } from "@/format/bytes";

import styles from "./picture-input.module.css";
import { readPicture, type Picture } from "./picture";
import { SampleButtons } from "./sample-buttons";

interface PictureInputProps {
  picture: Picture | null;
  /** The message of the server about this picture. */
  error: string | null;
  onPicture: (picture: Picture) => void;
}

export function PictureInput({ picture, error, onPicture }: PictureInputProps) {
  const id = useId();
  const [isOver, setIsOver] = useState(false);
  const [unreadable, setUnreadable] = useState<string | null>(null);

  function take(file: File | null | undefined) {
    if (file === null || file === undefined) return;
    readPicture(file).then(
      (read) => {
        setUnreadable(null);
        onPicture(read);
      },
      (cause: unknown) => {
        setUnreadable(`${file.name}: ${cause instanceof Error ? cause.message : "cannot be read"}`);
      },
    );
  }

  useEffect(() => {
    function onPaste(event: ClipboardEvent) {
      take(event.clipboardData?.files[0]);
    }
    window.addEventListener("paste", onPaste);
    return () => {
      window.removeEventListener("paste", onPaste);
    };
  });

  return (
    <div className={styles.frame}>
      <label htmlFor={id} className={isOver ? [styles.drop, styles.over].join(" ") : styles.drop}>
        {/* It covers the whole frame, so that a file dropped anywhere on it is chosen. */}
        <input
          id={id}
          className={styles.file}
          type="file"
          accept="image/*"
          onDragEnter={() => {
            setIsOver(true);
          }}
          onDragLeave={() => {
            setIsOver(false);
          }}
          onDrop={() => {
            setIsOver(false);
          }}
          aria-invalid={error === null ? undefined : true}
          onChange={(event) => {
            take(event.target.files?.[0]);
          }}
        />
        {picture === null ? (
          <span>
            <strong>Choose a picture</strong>
            <span className={styles.hint}>or drop it here, or paste it</span>
          </span>
        ) : (
          <>
            <img className={styles.preview} src={picture.dataUri} alt={`Chosen: ${picture.name}`} />
            <span className={styles.name}>
              {picture.name} · {formatBytes(picture.bytes)}
            </span>
          </>
        )}
      </label>
      <SampleButtons onFile={take} />
      {error === null ? null : <p className={styles.error}>{error}</p>}
      {unreadable === null ? null : <Notice tone="bad">{unreadable}</Notice>}
    </div>
  );
}
