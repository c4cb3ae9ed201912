// A picture that is given besides: a mask, or what is painted after.

import { Field } from "@/components/field";
import { readPicture, type Picture } from "@/inference/picture";

interface PictureFileProps {
  label: string;
  hint: string;
  error: string | null;
  /** `null`: there is none any more. */
  onPicture: (picture: Picture | null) => void;
}

export function PictureFile({ label, hint, error, onPicture }: PictureFileProps) {
  return (
    <Field label={label} hint={hint} error={error}>
      {(control) => (
        <input
          {...control}
          type="file"
          accept="image/*"
          onChange={(event) => {
            const file = event.target.files?.[0];
            if (file === undefined) onPicture(null);
            else void readPicture(file).then(onPicture);
          }}
        />
      )}
    </Field>
  );
}
