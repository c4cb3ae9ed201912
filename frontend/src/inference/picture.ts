// A picture that was chosen, as the request needs it.

export interface Picture {
  name: string;
  /** Bytes of the file. */
  bytes: number;
  /** The file as a data URI. */
  dataUri: string;
}

/** Reads a file as it is: nothing is decoded or scaled here, the server gets the same bytes. */
export function readPicture(file: File): Promise<Picture> {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => {
      // `readAsDataURL` always makes a string.
      resolve({ name: file.name, bytes: file.size, dataUri: reader.result as string });
    };
    reader.onerror = () => {
      reject(reader.error ?? new Error("the file cannot be read"));
    };
    reader.readAsDataURL(file);
  });
}
