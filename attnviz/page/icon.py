"""The page's icon: one token attending to three, drawn here so that it needs no network."""

ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">'
    '<g stroke="#0f766e" fill="none" stroke-linecap="round">'
    '<path d="M6 16 L26 5" stroke-width="1.5"/><path d="M6 16 L26 16" stroke-width="2.5"/>'
    '<path d="M6 16 L26 27" stroke-width="5"/></g>'
    '<circle cx="6" cy="16" r="5" fill="#0f766e"/></svg>'
)
