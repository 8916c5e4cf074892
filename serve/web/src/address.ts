/** Match ids in addresses, as `serve/gateway/addresses.py` reads and writes them. Pure. */

/**
 * An id as one segment of a path. Browsers resolve "." and ".." however they are encoded: such an id gets a "~" in front,
 * and so does one of tildes and then dots.
 */
export const writtenId = (id: string): string => encodeURIComponent(/^~*\.{1,2}$/.test(id) ? `~${id}` : id);

/** What `writtenId` wrote; slashes that were not encoded are taken as they stand. Null for what is no address. */
export function readId(segment: string): string | null {
  try {
    const id = decodeURIComponent(segment.replace(/\/$/, ""));
    return /^~+\.{1,2}$/.test(id) ? id.slice(1) : id;
  } catch {
    return null;
  }
}
