// The options of painting that the page offers.

import type {
  ImageToImageOptions,
  TextToImageOptions,
  UnconditionalImageGenerationOptions,
} from "@/api/contract";
import type { OptionSpec } from "@/inference/options";

type Shared = keyof TextToImageOptions & keyof ImageToImageOptions;

const SHARED: readonly OptionSpec<Shared>[] = [
  { name: "num_inference_steps", hint: "From noise to a picture", step: 1 },
  { name: "guidance_scale", hint: "How closely the text is followed", step: 0.5 },
  { name: "guidance_rescale", hint: "Against overexposure, up to 1", step: 0.1 },
  { name: "num_images", hint: "So many pictures", step: 1 },
  { name: "preview_every", hint: "A preview after so many steps", step: 1 },
  { name: "clip_skip", hint: "Last layers the text does without", step: 1 },
  { name: "true_cfg_scale", hint: "FLUX: away from what it should not show", step: 0.5 },
  { name: "max_sequence_length", hint: "Tokens that T5 reads", step: 1 },
  { name: "seed", hint: "The same seed paints the same", step: 1 },
];

export const TEXT_TO_IMAGE: readonly OptionSpec<keyof TextToImageOptions>[] = [
  { name: "width", hint: "Pixels", step: 8 },
  { name: "height", hint: "Pixels", step: 8 },
  ...SHARED,
];

export const IMAGE_TO_IMAGE: readonly OptionSpec<keyof ImageToImageOptions>[] = [
  { name: "strength", hint: "How much is changed, up to 1", step: 0.05 },
  {
    name: "image_guidance_scale",
    hint: "How closely InstructPix2Pix follows the picture",
    step: 0.5,
  },
  { name: "aesthetic_score", hint: "How beautiful SDXL's refiner makes it, up to 10", step: 0.5 },
  ...SHARED,
];

export const UNCONDITIONAL: readonly OptionSpec<keyof UnconditionalImageGenerationOptions>[] = [
  { name: "num_inference_steps", hint: "From noise to a picture", step: 1 },
  { name: "num_images", hint: "So many pictures", step: 1 },
  { name: "preview_every", hint: "A preview after so many steps", step: 1 },
  { name: "seed", hint: "The same seed paints the same", step: 1 },
];
