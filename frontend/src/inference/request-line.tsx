// The curl line of the request that the form would send now.

import type { InferenceRequest } from "@/api/contract";
import { CopyButton } from "@/components/copy-button";
import { Disclosure } from "@/components/disclosure";

import { curlLine, type RequestFile } from "./curl";
import styles from "./request-line.module.css";

interface RequestLineProps {
  request: InferenceRequest;
  file?: RequestFile | undefined;
}

export function RequestLine({ request, file }: RequestLineProps) {
  const line = curlLine(window.location.origin, request, file);
  return (
    <Disclosure title="The same with curl">
      <div className={styles.frame}>
        <pre className={styles.line}>
          <code>{line}</code>
        </pre>
        <CopyButton text={line} />
      </div>
    </Disclosure>
  );
}
