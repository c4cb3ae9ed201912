// A picture that the server made, with what it was made of behind it, and a link that keeps it.

import { useId, useState } from "react";

import type { MadeImage } from "@/api/contract";

import styles from "./made-picture.module.css";

interface MadePictureProps {
  made: MadeImage;
  /** The picture it was made of, as a data URI; none where it was made of words. */
  before?: string | undefined;
  /** Name of the file without its ending. */
  name: string;
}

export function MadePicture({ made, before, name }: MadePictureProps) {
  const id = useId();
  const [share, setShare] = useState(50);
  const picture = made.image_base64 ?? "";
  const ending = /^data:image\/(\w+)/.exec(picture)?.[1] ?? "png";
  const size = `${String(made.width)} × ${String(made.height)}`;
  return (
    <figure className={styles.figure}>
      <div className={styles.frame}>
        {before === undefined ? null : (
          <img className={styles.before} src={before} alt="As it was given" />
        )}
        <img
          className={before === undefined ? styles.only : styles.after}
          style={before === undefined ? {} : { clipPath: `inset(0 0 0 ${String(share)}%)` }}
          src={picture}
          width={made.width}
          height={made.height}
          alt={`What was made, ${size} pixels`}
        />
      </div>
      {before === undefined ? null : (
        <div className={styles.slider}>
          <label htmlFor={id}>Before</label>
          <input
            id={id}
            type="range"
            min={0}
            max={100}
            value={share}
            aria-label="How much is shown of the picture before"
            onChange={(event) => {
              setShare(Number(event.target.value));
            }}
          />
          <span>After</span>
        </div>
      )}
      <figcaption className={styles.caption}>
        {size} pixels ·{" "}
        <a href={picture} download={`${name}.${ending}`}>
          Save
        </a>
      </figcaption>
    </figure>
  );
}
