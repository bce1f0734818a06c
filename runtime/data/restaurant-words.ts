/**
The words of the restaurant grammar. A phrase that follows a subject begins with a verb; a clause stands alone.
*/

/** The slots of a meaning in the order in which they are written; all but the name may be missing. */
export type Restaurant = {
	readonly name: string;
	readonly eatType?: string;
	readonly food?: string;
	readonly priceRange?: string;
	readonly 'customer rating'?: string;
	readonly area?: string;
	readonly familyFriendly?: string;
	readonly near?: string;
};

export const names = [
	'The Copper Ladle',
	'Saffron Yard',
	'Lantern House',
	'The Quiet Fig',
	'Marrow and Thyme',
	'Old Ferry Kitchen',
	'Blackbird Table',
	'Casa Lumbre',
	'The Tin Kettle',
	'Northgate Hearth',
	'The Painted Gourd',
	'Little Anatolia',
	'Pepperwood',
	'Miso Lane',
	'Tidewater Room',
	'The Brass Pigeon',
	'Anise',
	'Granary Nine',
	'Three Herons',
	'Café Meridian',
	'The Larder Door',
	'Umber and Oak',
	'Chestnut Row',
	'Vela',
	'The Long Spoon',
	'Quince Garden',
	'Salt Harbour',
	'Juniper Steps',
	'The Slow Clock',
	'Harvest Moon Diner',
];

export const types = ['bistro', 'tavern', 'tea room', 'diner', 'noodle bar', 'brasserie', 'canteen'];

export const foods = [
	'Lebanese',
	'Peruvian',
	'Korean',
	'Greek',
	'Ethiopian',
	'Basque',
	'Vietnamese',
	'Hungarian',
	'Moroccan',
	'Swedish',
];

export const landmarks = [
	'Cornmarket Square',
	'Mapmakers Gate',
	'Ropewalk Gardens',
	'Saint Anselm Bridge',
	'Tramway Circle',
	'Lido Park',
	'Clock Market',
	'Weavers Hall',
];

/** What a value can be called after a verb of place. */
export const areas: Readonly<Record<string, readonly string[]>> = {
	'old town': ['in the old town', 'among the lanes of the old town', 'in the heart of the old town'],
	harbour: ['by the harbour', 'down at the harbour', 'on the harbour front'],
	'station quarter': [
		'in the station quarter',
		'in the streets around the station',
		'in the quarter behind the station',
	],
	'north bank': ['on the north bank', 'on the north bank of the river', 'along the north bank'],
	'university district': ['in the university district', 'in the student streets of the university district'],
};

export const nearness = ['near', 'close to', 'a short walk from', 'opposite', 'round the corner from', 'not far from'];

/** How a value is told: phrases for a subject, clauses of their own, and whether that is good news (1), bad (-1) or neither. */
export type Telling = {
	readonly phrases: readonly string[];
	readonly clauses: readonly string[];
	readonly tone: -1 | 0 | 1;
};

export const prices: Readonly<Record<string, Telling>> = {
	low: {
		phrases: ['keeps its prices low', 'charges very little', 'goes easy on your wallet'],
		clauses: ['prices are low', 'a full meal costs little', 'nobody leaves with an empty purse'],
		tone: 1,
	},
	moderate: {
		phrases: ['asks moderate prices', 'sits in the middle of the price range', 'charges a moderate amount'],
		clauses: ['prices are moderate', 'the bill stays moderate', 'what you pay is neither little nor much'],
		tone: 0,
	},
	high: {
		phrases: ['asks high prices', 'is an expensive choice', 'charges a lot'],
		clauses: ['prices are high', 'the bill will be high', 'eating there is expensive'],
		tone: -1,
	},
	'below £12': {
		phrases: ['serves dishes below £12', 'keeps every dish below £12', 'charges less than £12 a head'],
		clauses: ['dishes cost less than £12', 'you can eat for below £12', 'nothing on the menu reaches £12'],
		tone: 1,
	},
	'£12 to £28': {
		phrases: ['charges £12 to £28', 'has meals for £12 to £28', 'prices its menu from £12 to £28'],
		clauses: ['meals cost £12 to £28', 'expect to pay £12 to £28', 'the menu runs from £12 to £28'],
		tone: 0,
	},
	'above £40': {
		phrases: ['charges above £40', 'has nothing for less than £40', 'prices its dinners above £40'],
		clauses: ['a dinner costs more than £40', 'expect a bill above £40', 'the menu starts above £40'],
		tone: -1,
	},
};

export const ratings: Readonly<Record<string, Telling>> = {
	poor: {
		phrases: ['is rated poor', 'has poor reviews', 'has earned a poor rating'],
		clauses: ['guests rate it as poor', 'its rating is poor', 'reviews have been poor'],
		tone: -1,
	},
	fair: {
		phrases: ['is rated fair', 'has a fair rating', 'earns fair reviews'],
		clauses: ['guests find it fair', 'its rating is fair', 'reviews call it fair'],
		tone: 0,
	},
	outstanding: {
		phrases: ['is rated outstanding', 'earns outstanding reviews', 'holds an outstanding rating'],
		clauses: ['guests call it outstanding', 'its rating is outstanding', 'reviews are outstanding'],
		tone: 1,
	},
	'2 of 5 stars': {
		phrases: ['has 2 of 5 stars', 'gets only 2 of 5 stars', 'is rated with 2 of 5 stars'],
		clauses: ['guests give it 2 of 5 stars', 'its rating is 2 of 5 stars', 'reviews stop at 2 of 5 stars'],
		tone: -1,
	},
	'4 of 5 stars': {
		phrases: ['has 4 of 5 stars', 'gets 4 of 5 stars', 'is rated with 4 of 5 stars'],
		clauses: ['guests give it 4 of 5 stars', 'its rating is 4 of 5 stars', 'reviews reach 4 of 5 stars'],
		tone: 1,
	},
};

export const families: Readonly<Record<string, Telling>> = {
	yes: {
		phrases: ['welcomes children', 'is a good place for families', 'suits families with children'],
		clauses: ['children are welcome', 'families feel at home there', 'you can bring the children'],
		tone: 1,
	},
	no: {
		phrases: ['is not meant for families', 'does not cater for children', 'is a place for adults'],
		clauses: [
			'children are not catered for',
			'families should look elsewhere',
			'it is better to leave the children at home',
		],
		tone: -1,
	},
};
