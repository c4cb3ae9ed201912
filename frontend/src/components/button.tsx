// The button: one primary action per view, quiet ones elsewhere.

import type { ComponentProps } from "react";

import styles from "./button.module.css";

interface ButtonProps extends ComponentProps<"button"> {
  kind?: "primary" | "quiet" | "danger";
  small?: boolean;
}

export function Button({ kind = "quiet", small = false, className, ...rest }: ButtonProps) {
  const names = [styles.button, styles[kind], small ? styles.small : "", className ?? ""];
  return <button type="button" className={names.filter(Boolean).join(" ")} {...rest} />;
}
