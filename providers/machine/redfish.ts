import type { z } from "zod";
import type { BiosSnapshot } from "../kit/bios.ts";
import type { BmcConfig } from "../kit/config.ts";
import type { BmcClient } from "./options.ts";
import type { Link, Registry, Settings as SettingsType } from "./redfish-bios.ts";
import {
  ActionInfo,
  Bios,
  invalid,
  Jobs,
  Members,
  RegistryFile,
  Registry as RegistrySchema,
  Root,
  Settings,
  System,
  snapshotOf,
} from "./redfish-bios.ts";
import type { RedfishOptions } from "./redfish-http.ts";
import { RedfishHttp } from "./redfish-http.ts";

export { snapshotOf } from "./redfish-bios.ts";
export { certificateOf } from "./redfish-tls.ts";

/** Applied by a reset that something else makes: never by the BMC on its own. */
const ON_RESET = "OnReset";
/** A forced reset in the order preferred: the quickest that ends a machine that hangs. */
const RESETS = ["ForceRestart", "PowerCycle"];

interface Found {
  readonly system: z.infer<typeof System>;
  readonly path: string;
}

/**
 * One node's BMC over Redfish. Every path is found by following links from the service root, none is assumed.
 * Reading makes no change on the BMC (unless it allows no Basic login: then one session, ended by {@link Bmc.close}).
 *
 * Errors are TeeUpErrors `bmc.*`: unauthorized, forbidden, certificate-changed, certificate-untrusted, ca-file,
 * refused, unknown-host, timeout, connection, server-error, not-json, schema, not-found, rejected, conflict,
 * no-system, no-bios, setting-invalid, not-staged, no-reset.
 */
export class Bmc implements BmcClient {
  readonly #http: RedfishHttp;

  /** `password` appears in no error; see {@link RedfishOptions} for the defaults of `options`. */
  constructor(node: string, config: BmcConfig, password: string, options: Partial<RedfishOptions> = {}) {
    this.#http = new RedfishHttp(node, config, password, options);
  }

  /** The BIOS as facets see it: only attributes that matter here, never passwords. */
  async bios(): Promise<BiosSnapshot> {
    return snapshotOf(await this.#read());
  }

  /**
   * Stages settings for the next reset; a 2xx of the BMC alone is not believed: the staged values are read back.
   * Names and values are first checked against the attribute registry.
   */
  async stage(settings: Readonly<Record<string, string | number | boolean>>): Promise<void> {
    const read = await this.#read();
    const names = Object.keys(settings);
    const all = snapshotOf(read, (name) => names.includes(name));
    const wrong = invalid(all, settings);
    if (wrong.length > 0)
      throw this.#http.error(
        "setting-invalid",
        wrong.join("; "),
        "update the BIOS, or correct the wanted state of bios",
      );
    const onReset = read.bios["@Redfish.Settings"]?.SupportedApplyTimes?.includes(ON_RESET) === true;
    // Sent only where it is offered: some BMCs reject the request otherwise (bmc-toolbox/bmclib#458).
    const apply = onReset
      ? { "@Redfish.SettingsApplyTime": { "@odata.type": "#Settings.v1_1_0.PreferredApplyTime", ApplyTime: ON_RESET } }
      : {};
    const reply = await this.#http.write(
      "PATCH",
      read.settingsPath,
      { Attributes: settings, ...apply },
      read.settings.etag,
    );
    // iDRAC applies settings only by a job. With OnReset it makes one and names it (dell/iDRAC-Redfish-Scripting#84).
    const jobs = read.settings.value.Oem?.Dell?.Jobs?.["@odata.id"];
    if (jobs !== undefined && !(onReset && reply.location !== undefined))
      await this.#http.write("POST", jobs, { TargetSettingsURI: read.settingsPath });
    const { value: after } = await this.#http.get(read.settingsPath, Settings);
    const lost = names.filter((name) => (after.Attributes[name] ?? read.bios.Attributes[name]) !== settings[name]);
    if (lost.length === 0) return;
    const saw = lost
      .map((name) => `${name} is ${after.Attributes[name] ?? "not staged"}, not ${settings[name]}`)
      .join("; ");
    throw this.#http.error(
      "not-staged",
      `the BMC accepted the settings but does not hold them: ${saw}`,
      "clear its pending BIOS settings or jobs, then run again",
    );
  }

  /** `On`, `Off`, or as the BMC words a transition. */
  async powerState(): Promise<string> {
    const { system } = await this.#system();
    return system.PowerState ?? "Unknown";
  }

  /** Resets the node by force, or switches it on. Returns once the BMC has taken the order. */
  async powerCycle(): Promise<void> {
    const { system, path } = await this.#system();
    const reset = system.Actions?.["#ComputerSystem.Reset"];
    if (reset === undefined)
      throw this.#http.error("no-reset", `${path} has no reset action`, "reset the node by hand, then run again");
    const info = reset["@Redfish.ActionInfo"];
    const allowed =
      reset["ResetType@Redfish.AllowableValues"] ??
      (info === undefined
        ? undefined
        : (await this.#http.get(info, ActionInfo)).value.Parameters.find((p) => p.Name === "ResetType")
            ?.AllowableValues) ??
      RESETS;
    const wanted = system.PowerState === "Off" ? ["On"] : RESETS;
    const type = wanted.find((t) => allowed.includes(t));
    if (type === undefined)
      throw this.#http.error(
        "no-reset",
        `${path} allows only ${allowed.join(", ")}`,
        "reset the node by hand, then run again",
      );
    await this.#http.write("POST", reset.target, { ResetType: type });
  }

  close(): Promise<void> {
    return this.#http.close();
  }

  /** The one system that has a BIOS; boards with an HGX baseboard list that as a system too. */
  async #system(): Promise<Found & { registries: Link | undefined }> {
    const { value: root } = await this.#http.get("/redfish/v1/", Root);
    const { value: list } = await this.#http.get(root.Systems["@odata.id"], Members);
    const systems = await Promise.all(
      list.Members.map(async ({ "@odata.id": path }) => ({ path, system: (await this.#http.get(path, System)).value })),
    );
    const [first, second] = systems.filter(({ system }) => system.Bios !== undefined);
    if (first === undefined)
      throw this.#http.error(
        "no-system",
        `none of ${systems.map((s) => s.path).join(", ") || "0 systems"} has a BIOS`,
        "update the BMC's firmware, or leave `bmc` out of the node",
      );
    if (second !== undefined)
      throw this.#http.error(
        "no-system",
        `${first.path} and ${second.path} both have a BIOS: which is this node?`,
        "give each node of a chassis the URL of its own BMC",
        "bmc.url",
      );
    return { ...first, registries: root.Registries };
  }

  async #read() {
    const { system, path, registries } = await this.#system();
    const biosPath = system.Bios?.["@odata.id"] ?? `${path}/Bios`;
    const { value: bios } = await this.#http.get(biosPath, Bios);
    const named = bios["@Redfish.Settings"]?.SettingsObject["@odata.id"];
    // XCC has no annotation on some levels, but the settings are there (lenovo/powershell-redfish-lenovo#138).
    const settingsPath =
      named ?? (/lenovo/i.test(system.Manufacturer) ? `${biosPath.replace(/\/$/, "")}/Pending` : undefined);
    if (settingsPath === undefined)
      throw this.#http.error(
        "no-bios",
        `${biosPath} has no settings object`,
        "update the BMC's firmware, or leave `bmc` out of the node",
      );
    const [settings, registry] = await Promise.all([
      this.#http.get(settingsPath, Settings),
      this.#registry(registries, bios.AttributeRegistry ?? undefined),
    ]);
    const etag = settings.etag ?? settings.value["@odata.etag"];
    const staged = (await this.#applies(settings.value)) ? settings.value.Attributes : {};
    return { system, bios, settingsPath, settings: { value: settings.value, etag }, staged, registry };
  }

  /** iDRAC keeps settings without a job for ever: only with one does the next reset apply them. */
  async #applies({ Attributes, Oem }: SettingsType): Promise<boolean> {
    const jobs = Oem?.Dell?.Jobs?.["@odata.id"];
    if (jobs === undefined || Object.keys(Attributes).length === 0) return true;
    const { value } = await this.#http.get(`${jobs}?$expand=*($levels=1)`, Jobs);
    return value.Members.some(
      (j) => j.JobType === "BIOSConfiguration" && /^(New|Scheduled|Pending)/.test(j.JobState ?? ""),
    );
  }

  /** The registry that the BIOS resource names; undefined when the BMC does not have it. */
  async #registry(registries: Link | undefined, id: string | undefined): Promise<Registry | undefined> {
    if (registries === undefined || id === undefined || id === "") return undefined;
    const list = await this.#http.get(registries["@odata.id"], Members, true);
    const named = (wanted: string) =>
      list?.value.Members.find(
        (m) => m["@odata.id"].replace(/\/$/, "").split("/").at(-1)?.toLowerCase() === wanted.toLowerCase(),
      );
    // Some list the file without its version.
    const file = named(id) ?? named(id.split(".")[0] ?? id);
    if (file === undefined) return undefined;
    const location = (await this.#http.get(file["@odata.id"], RegistryFile, true))?.value.Location ?? [];
    const uri = (location.find((l) => l.Language?.startsWith("en")) ?? location[0])?.Uri;
    return uri === undefined ? undefined : (await this.#http.get(uri, RegistrySchema, true))?.value;
  }
}
