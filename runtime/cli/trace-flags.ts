/**
What a user may say of the records to list.
*/
export type ListFlags = {
	readonly actor?: string;
	readonly verb?: string;
	readonly round?: number;
	readonly from?: number;
	readonly to?: number;
	readonly json: boolean;
};
