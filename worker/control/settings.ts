// Returns the part of validated options that the pump needs. It is the same on each platform. `engineParams` returns
// the engine's part.

import { pagesWithoutFiles } from "../../host/options/site/pages";
import type { Settings } from "../../host/options/settle";
import { AddressSet } from "../../host/shared/text/address";
import type { PumpOptions } from "../pump/pump";

type PumpSettings = Pick<
  PumpOptions,
  | "values"
  | "rules"
  | "hosts"
  | "forwarding"
  | "metrics"
  | "protocols"
  | "protocolHandlers"
  | "serverHeader"
  | "errorPages"
>;

/** Returns the pump's settings. @throws TypeError for an error page that is still in a file */
export function pumpSettings(settings: Settings): PumpSettings {
  const { values, lists, hosts, metrics, serverHeader, errorPages, protocols } = settings;
  return {
    values,
    rules: {
      origins: lists.origins,
      requireOrigin: values.requireOrigin === 1,
      hosts: lists.hosts ?? [],
    },
    hosts,
    forwarding: lists.trustProxy && {
      trusted: new AddressSet(lists.trustProxy),
      field: values.forwardedHeader === 0 ? "x-forwarded-for" : "forwarded",
    },
    metrics: metrics && { path: metrics.path, readers: new AddressSet(metrics.addresses) },
    protocols: lists.protocols ?? [],
    protocolHandlers: protocols,
    serverHeader,
    errorPages: pagesWithoutFiles(errorPages),
  };
}
