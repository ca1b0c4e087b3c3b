export default async () => {
  throw new Error("thrown by the function");
};
