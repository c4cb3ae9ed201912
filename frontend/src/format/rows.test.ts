import { expect, test } from "vitest";

import { parseRows } from "./rows";

test("lines are rows and commas part cells", () => {
  expect(parseRows("a, b\n1,\n\n2,x y\r\n")).toEqual([
    ["a", "b"],
    ["1", ""],
    ["2", "x y"],
  ]);
  expect(parseRows("")).toEqual([]);
});

test("quoted cells may hold commas, lines and quotes", () => {
  expect(parseRows('a,b\n"1,234", "x ""y""\nz"')).toEqual([
    ["a", "b"],
    ["1,234", 'x "y"\nz'],
  ]);
});

test("tabs part cells where the first line has one", () => {
  expect(parseRows("a\tb\n1,5\t2")).toEqual([
    ["a", "b"],
    ["1,5", "2"],
  ]);
});
