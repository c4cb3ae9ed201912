// The workers and models as they are now, and whether the page still hears of them.

import { useEffect, useReducer, useState } from "react";

import { reduceFleet, type Fleet, type FleetEvent } from "@/api/fleet";
import { watchStatus } from "@/api/live-status";

export type FleetLink = "connecting" | "live" | "reconnecting";

export interface LiveFleet {
  /** The newest that was heard; null before the first snapshot. */
  fleet: Fleet | null;
  link: FleetLink;
}

export function useFleet(): LiveFleet {
  const [link, setLink] = useState<FleetLink>("connecting");
  const [fleet, dispatch] = useReducer(reduce, null);

  useEffect(
    () =>
      watchStatus({
        onLink: setLink,
        onEvent: (event) => {
          dispatch({ event, at: performance.now() });
        },
      }),
    [],
  );

  return { fleet, link };
}

function reduce(fleet: Fleet | null, { event, at }: { event: FleetEvent; at: number }) {
  return reduceFleet(fleet, event, at);
}
