/** See `packages.mjs`, which cannot be TypeScript: it runs before TypeScript is registered. */
export declare function bundlesFolder(): string;
export declare function bundlePackages(folder: string): Promise<Record<string, string>>;
