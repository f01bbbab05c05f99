/** 128 random bits in hexadecimal; not crypto.randomUUID, which plain http on a local network lacks. */
export const newId = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
