// Puts the page into its document.

import "@/components/tokens.css";

import { StrictMode } from "react";
import { createRoot } from "react-dom/client";

import { App } from "@/app/app";

const root = document.getElementById("root");
if (root === null) throw new Error("index.html has an element with the id root");
createRoot(root).render(
  <StrictMode>
    <App />
  </StrictMode>,
);
