// Strict TypeScript, accessible markup, and imports that only point down the layers.
import js from "@eslint/js";
import jsxA11y from "eslint-plugin-jsx-a11y";
import reactHooks from "eslint-plugin-react-hooks";
import tseslint from "typescript-eslint";

/** From the ground up; a layer imports only from those before it. */
const LAYERS = ["format", "api", "components", "inference", "features", "app"];

/** Features do not know each other: what two of them need belongs to a lower layer. */
const FEATURES = [
  "model-picker",
  "residencies",
  "text-generation",
  "image-classification",
  "image-enhancement",
  "sentence-similarity",
  "table-question-answering",
  "feature-extraction",
  "writing",
  "text-classification",
  "text-ranking",
  "token-classification",
  "question-answering",
  "fill-mask",
  "painting",
];

/** Forbids the import of every path that starts with one of `paths`. */
function forbid(files, paths, message) {
  return {
    files,
    rules: {
      "no-restricted-imports": [
        "error",
        {
          patterns: [
            { group: ["../*"], message: "Write @/… so that the layer can be seen." },
            ...paths.map((path) => ({ group: [`@/${path}/*`, `@/${path}`], message })),
          ],
        },
      ],
    },
  };
}

export default tseslint.config(
  { ignores: ["dist/", "src/api/generated/"] },
  js.configs.recommended,
  {
    files: ["**/*.{ts,tsx}"],
    extends: [...tseslint.configs.strictTypeChecked, jsxA11y.flatConfigs.strict],
    languageOptions: { parserOptions: { project: "./tsconfig.json" } },
    plugins: { "react-hooks": reactHooks },
    rules: {
      ...reactHooks.configs.recommended.rules,
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true }],
      "@typescript-eslint/consistent-type-imports": "error",
    },
  },
  ...LAYERS.map((layer, level) =>
    forbid(
      [`src/${layer}/**/*.{ts,tsx}`],
      LAYERS.slice(level + 1),
      `${layer} is below that layer.`,
    ),
  ),
  ...FEATURES.map((feature) =>
    forbid(
      [`src/features/${feature}/**/*.{ts,tsx}`],
      ["app", ...FEATURES.filter((other) => other !== feature).map((other) => `features/${other}`)],
      "A feature imports neither another feature nor the app.",
    ),
  ),
);
