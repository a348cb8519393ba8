import type { BiosVendor } from "./model/bios.ts";

/** Where the BMCs differ: paths, what a PATCH must and must not have, and what a reset may be. */
export interface BmcShape {
  readonly system: string;
  readonly bios: string;
  readonly settings: string;
  /** AttributeRegistry as the BIOS resource names it, and where the list of registries has it. */
  readonly registry: string;
  readonly registryFile: string;
  readonly registryUri: string;
  /** The settings object shows only what is staged, not every attribute. */
  readonly showsOnlyStaged: boolean;
  /** SupportedApplyTimes; absent: the BMC rejects @Redfish.SettingsApplyTime as unknown. */
  readonly applyTimes?: readonly string[];
  /** PATCH without If-Match is answered with 428. */
  readonly needsIfMatch: boolean;
  /** Settings wait for a job (iDRAC). */
  readonly jobs?: string;
  readonly resetTypes: readonly string[];
  /** AllowableValues are behind @Redfish.ActionInfo. */
  readonly actionInfo: boolean;
  /** Paths end with a slash; without one the BMC redirects (iLO). */
  readonly slash: boolean;
  /** The registry always comes gzipped. */
  readonly gzip: boolean;
  /** A further system without a BIOS, as HGX boards show. */
  readonly otherSystem?: string;
}

const V1 = "/redfish/v1";
const ALL = ["On", "ForceOff", "GracefulShutdown", "GracefulRestart", "ForceRestart", "PowerCycle"];

export const SHAPES: Readonly<Record<BiosVendor, BmcShape>> = {
  dell: {
    system: `${V1}/Systems/System.Embedded.1`,
    bios: `${V1}/Systems/System.Embedded.1/Bios`,
    settings: `${V1}/Systems/System.Embedded.1/Bios/Settings`,
    registry: "BiosAttributeRegistry.v1_0_3",
    registryFile: `${V1}/Registries/BiosAttributeRegistry.v1_0_3`,
    registryUri: `${V1}/Systems/System.Embedded.1/Bios/BiosRegistry`,
    showsOnlyStaged: true,
    applyTimes: ["OnReset", "AtMaintenanceWindowStart", "InMaintenanceWindowOnReset"],
    needsIfMatch: false,
    jobs: `${V1}/Managers/iDRAC.Embedded.1/Jobs`,
    resetTypes: [...ALL, "Nmi", "PushPowerButton"],
    actionInfo: false,
    slash: false,
    gzip: false,
  },
  supermicro: {
    system: `${V1}/Systems/1`,
    bios: `${V1}/Systems/1/Bios`,
    settings: `${V1}/Systems/1/Bios/SD`,
    registry: "BiosAttributeRegistry.v1_0_0",
    registryFile: `${V1}/Registries/BiosAttributeRegistry.v1_0_0`,
    registryUri: "/registries/BiosAttributeRegistry.1.0.0.json",
    showsOnlyStaged: false,
    needsIfMatch: false,
    resetTypes: ALL,
    actionInfo: false,
    slash: false,
    gzip: false,
    otherSystem: `${V1}/Systems/HGX_Baseboard_0`,
  },
  asrockrack: {
    system: `${V1}/Systems/Self`,
    bios: `${V1}/Systems/Self/Bios`,
    settings: `${V1}/Systems/Self/Bios/SD`,
    registry: "BiosAttributeRegistryGENOA.0.30.12C",
    registryFile: `${V1}/Registries/BiosAttributeRegistryGENOA`,
    registryUri: `${V1}/Registries/BiosAttributeRegistryGENOA.en-US.0.30.12C.json`,
    showsOnlyStaged: false,
    needsIfMatch: true,
    resetTypes: ["On", "ForceOff", "ForceRestart", "GracefulShutdown"],
    actionInfo: true,
    slash: false,
    gzip: false,
  },
  hpe: {
    system: `${V1}/systems/1/`,
    bios: `${V1}/systems/1/bios/`,
    settings: `${V1}/systems/1/bios/settings/`,
    registry: "BiosAttributeRegistryA55.v1_2_20",
    registryFile: `${V1}/registries/biosattributeregistrya55.v1_2_20/`,
    registryUri: `${V1}/registrystore/registries/en/biosattributeregistrya55.v1_2_20/`,
    showsOnlyStaged: false,
    needsIfMatch: false,
    resetTypes: ["On", "ForceOff", "GracefulShutdown", "ForceRestart", "Nmi", "PushPowerButton", "GracefulRestart"],
    actionInfo: false,
    slash: true,
    gzip: true,
  },
  lenovo: {
    system: `${V1}/Systems/1`,
    bios: `${V1}/Systems/1/Bios`,
    settings: `${V1}/Systems/1/Bios/Pending`,
    registry: "BiosAttributeRegistry.1.0.0",
    registryFile: `${V1}/Registries/BiosAttributeRegistry.1.0.0`,
    registryUri: `${V1}/schemas/registries/BiosAttributeRegistry.1.0.0.json`,
    showsOnlyStaged: false,
    needsIfMatch: false,
    resetTypes: ["On", "Nmi", "GracefulShutdown", "GracefulRestart", "ForceOff", "ForceRestart"],
    actionInfo: true,
    slash: false,
    gzip: false,
  },
};
