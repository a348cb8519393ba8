export function isInstalled(root: string): boolean;
export function main(root: string, argv: readonly string[], env: NodeJS.ProcessEnv): Promise<number>;
