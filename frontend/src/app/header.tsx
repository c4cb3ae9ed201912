// The name, how things stand with the server, the reference, light and dark.

import type { FleetLink } from "@/features/residencies/use-fleet";
import { Segmented } from "@/components/segmented";

import styles from "./header.module.css";
import { THEMES, useTheme } from "./use-theme";

const LINKS: Record<FleetLink, string> = {
  connecting: "Connecting…",
  live: "Live",
  reconnecting: "Server gone; reconnecting…",
};

export function Header({ link }: { link: FleetLink }) {
  const [theme, setTheme] = useTheme();
  return (
    <header className={styles.header}>
      <h1 className={styles.name}>
        <svg className={styles.sign} viewBox="0 0 32 32" aria-hidden="true">
          <circle className={styles.circle} cx="12" cy="12" r="9" />
          <path className={styles.triangle} d="M20 9 30 28H10z" />
        </svg>
        anymodel
      </h1>
      <p className={[styles.link, styles[link]].join(" ")} role="status">
        {LINKS[link]}
      </p>
      <nav className={styles.nav} aria-label="Reference">
        <a href="/docs">API reference</a>
      </nav>
      <Segmented label="Colours" value={theme} choices={THEMES} onChange={setTheme} />
    </header>
  );
}
