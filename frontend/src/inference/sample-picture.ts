// Small pictures to try a classifier with: a shape of one colour on a plain ground.

export interface Sample {
  shape: "circle" | "square" | "triangle";
  colour: "red" | "green" | "blue";
}

export const SAMPLES: readonly Sample[] = [
  { shape: "circle", colour: "red" },
  { shape: "square", colour: "blue" },
  { shape: "triangle", colour: "green" },
];

export const SAMPLE_COLOURS = { red: "#dc2828", green: "#28a03c", blue: "#2850dc" } as const;

const SIZE = 128;

/** The sample as a PNG file, drawn by the browser; null where it can't draw. */
export function drawSample({ shape, colour }: Sample): Promise<File | null> {
  const canvas = document.createElement("canvas");
  canvas.width = SIZE;
  canvas.height = SIZE;
  const context = canvas.getContext("2d");
  if (context === null) return Promise.resolve(null);
  context.fillStyle = "#ebebeb";
  context.fillRect(0, 0, SIZE, SIZE);
  context.fillStyle = SAMPLE_COLOURS[colour];
  context.fill(outline(shape));
  return new Promise((resolve) => {
    canvas.toBlob((blob) => {
      const name = `${colour}-${shape}.png`;
      resolve(blob === null ? null : new File([blob], name, { type: "image/png" }));
    }, "image/png");
  });
}

function outline(shape: Sample["shape"]): Path2D {
  const path = new Path2D();
  if (shape === "circle") path.arc(64, 64, 36, 0, 2 * Math.PI);
  else if (shape === "square") path.rect(32, 32, 64, 64);
  else {
    path.moveTo(64, 26);
    path.lineTo(102, 96);
    path.lineTo(26, 96);
    path.closePath();
  }
  return path;
}
