// A text with parts of it marked, each with its label.

import { cutPieces, type Mark } from "@/format/pieces";

import styles from "./marked-text.module.css";

const TONES = [styles.tone1, styles.tone2, styles.tone3];

export function MarkedText({ text, marks }: { text: string; marks: readonly Mark[] }) {
  const labels = [...new Set(marks.map((mark) => mark.label))];
  return (
    <p className={styles.text}>
      {cutPieces(text, marks).map((piece, place) =>
        piece.label === null ? (
          piece.text
        ) : (
          <mark
            key={place}
            className={[styles.mark, TONES[labels.indexOf(piece.label) % TONES.length]].join(" ")}
          >
            {piece.text}
            {piece.label === "" ? null : <span className={styles.label}>{piece.label}</span>}
          </mark>
        ),
      )}
    </p>
  );
}
