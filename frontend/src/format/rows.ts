// A table as text: lines of cells with commas between, or tabs where the first line has one; cells in quotes may hold both.

/** The rows of a text, the header among them; lines without anything are none. */
export function parseRows(text: string): string[][] {
  const first = text.split("\n", 1)[0] ?? "";
  const separator = first.includes("\t") ? "\t" : ",";
  const rows: string[][] = [];
  let row: string[] = [];
  let cell = "";
  let isQuoted = false;
  const endRow = () => {
    row.push(cell.trim());
    if (row.length > 1 || row[0] !== "") {
      rows.push(row);
    }
    row = [];
    cell = "";
  };
  for (let at = 0; at < text.length; at += 1) {
    const letter = text.charAt(at);
    if (isQuoted) {
      if (letter !== '"') {
        cell += letter;
      } else if (text.charAt(at + 1) === '"') {
        cell += '"';
        at += 1;
      } else {
        isQuoted = false;
      }
    } else if (letter === '"' && cell.trim() === "") {
      cell = "";
      isQuoted = true;
    } else if (letter === separator) {
      row.push(cell.trim());
      cell = "";
    } else if (letter === "\n") {
      endRow();
    } else {
      cell += letter;
    }
  }
  endRow();
  return rows;
}
