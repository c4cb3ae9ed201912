// How far pictures are while they come to be, and the pictures.

import type { ImagesAnswer } from "@/api/contract";
import { Card } from "@/components/card";
import { AnswerCard } from "@/inference/answer-card";
import type { RunState } from "@/inference/run-state";

import styles from "./painting-cards.module.css";

/** `alt` says what the pictures show. */
export function PaintingCards({ state, alt }: { state: RunState; alt: string }) {
  const preview = state.phase === "running" ? state.progress?.preview_base64 : null;
  return (
    <>
      {preview === undefined || preview === null ? null : (
        <Card title="Preview">
          <img className={styles.picture} src={preview} alt="As far as it is" />
        </Card>
      )}
      <AnswerCard state={state}>
        {(output) => <Pictures answer={output as ImagesAnswer} alt={alt} />}
      </AnswerCard>
    </>
  );
}

function Pictures({ answer, alt }: { answer: ImagesAnswer; alt: string }) {
  return (
    <>
      {answer.notices?.map((notice) => (
        <p key={notice}>{notice}</p>
      ))}
      <div className={styles.pictures}>
        {answer.images.map(({ image_base64, width, height, is_refused }, index) =>
          is_refused === true ? (
            <p key={index}>The model&apos;s safety checker refused this picture.</p>
          ) : (
            <img
              key={index}
              className={styles.picture}
              src={image_base64 ?? undefined}
              width={width}
              height={height}
              alt={alt}
            />
          ),
        )}
      </div>
    </>
  );
}
