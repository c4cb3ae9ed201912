// The page's clock, for figures that age.

import { useEffect, useState } from "react";

/** Milliseconds of the page's own clock, renewed every second. */
export function useClock(): number {
  const [now, setNow] = useState(() => performance.now());
  useEffect(() => {
    const timer = setInterval(() => {
      setNow(performance.now());
    }, 1000);
    return () => {
      clearInterval(timer);
    };
  }, []);
  return now;
}
